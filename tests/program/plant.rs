//! The plant network of the README, line by line: its certificates, its files, Mosquitto's clients and ours.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::process::{Process, nearfar, run};
use crate::support::{MODEL, request};

const FILES: [&str; 3] = ["plant.toml", "tls.toml", "acl.toml"];

/// The blocks of one kind in the section.
fn blocks(kind: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section = readme.split("## A plant network").nth(1).unwrap().split("\n## ").next().unwrap();
    let begin = format!("```{kind}\n");
    section.split(&begin).skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// Runs a command in `directory`; its output, and whether it succeeded.
fn shell(directory: &Path, script: &str) -> (bool, String) {
    let output = Command::new("bash").args(["-ec", script]).current_dir(directory).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn has(program: &str) -> bool {
    Command::new(program).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Writes the three files of the section, on free ports and with the model where it is.
fn write_files(directory: &Path) {
    let text = &blocks("toml")[0];
    for (at, name) in FILES.iter().enumerate() {
        let rest = &text[text.find(&format!("# {name}")).unwrap()..];
        let end = FILES.get(at + 1).map_or(rest.len(), |next| rest.find(&format!("# {next}")).unwrap());
        let text = rest[..end].replace(":8883", ":0").replace(":8884", ":0");
        let text = text.replace("models/anomaly_detector", MODEL);
        // One more user, who may do everything: a node that has this one as its broker elsewhere.
        let node = "rules = [{ allow = [\"publish\", \"subscribe\", \"will\"], users = [\"node\"], topics = [\"#\"] },";
        std::fs::write(directory.join(name), text.replace("rules = [", &format!("{node}\n"))).unwrap();
    }
}

fn set_password(directory: &Path, user: &str) {
    let password = directory.join("password");
    std::fs::write(&password, format!("secret of {user}\n")).unwrap();
    let mut command = nearfar(&["passwd", "users.txt", user]);
    run(command.current_dir(directory).stdin(Stdio::from(File::open(password).unwrap()))).assert_success();
}

#[test]
fn the_plant_network_of_the_readme_works_as_it_says() {
    if !has("bash") || !has("openssl") {
        println!("skipped: there is no bash, or no openssl");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let directory = place.path();
    let (made, said) = shell(directory, &blocks("sh")[0]);
    assert!(made, "{said}");
    for certificate in ["ca", "server", "pump-9"] {
        let (_, said) = shell(directory, &format!("openssl x509 -in {certificate}.pem -noout -text"));
        assert!(said.contains("Version: 3 (0x2)"), "{said}");
    }
    write_files(directory);
    ["pump-7", "pump-8", "node"].iter().for_each(|user| set_password(directory, user));
    let process = Process::start(nearfar(&["serve", "--config", "plant.toml"]).current_dir(directory));
    let ready = process.line();
    let listeners = ready.split(' ').find_map(|part| part.strip_prefix("mqtts=")).unwrap().split(',');
    let ports: Vec<_> = listeners.map(|address| address.rsplit(':').next().unwrap()).collect();
    our_client_connects(
        directory,
        &format!("port = {}\nusername = \"node\"\npassword_file = \"password\"", ports[0]),
        "",
    );
    let own = "client_certificate = \"node.pem\"\nclient_key = \"node.key\"";
    let (made, said) =
        shell(directory, &blocks("sh")[0].replace("pump-9", "node").replace("openssl req -x509", "true"));
    assert!(made, "{said}");
    our_client_connects(directory, &format!("port = {}", ports[1]), own);
    if has("mosquitto_sub") {
        mosquitto_s_clients_do_what_the_rules_say(directory, &ports);
    }
    process.terminate().assert_success();
    what_operations_installs_can_be_used(directory);
}

/// The block of docs/operations.md, with another place for `/etc/nearfar` and without what only root may do.
fn what_operations_installs_can_be_used(directory: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/operations.md")).unwrap();
    let block = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    std::os::unix::fs::symlink(root.join("models"), directory.join("models")).unwrap();
    // As the README has them: nothing is listened on.
    let text = &blocks("toml")[0];
    let plant = text.split("# tls.toml").next().unwrap();
    std::fs::write(directory.join("plant.toml"), plant).unwrap();
    let lines = block.lines().filter(|line| line.starts_with("install ") && line.contains("/etc/nearfar"));
    let script: Vec<_> =
        lines.map(|line| line.replace("-o root -g nearfar ", "").replace("/etc/nearfar", "etc")).collect();
    assert!(script.len() >= 4, "{block}");
    let (installed, said) = shell(directory, &script.join("\n"));
    assert!(installed, "{said}");
    let check = block.lines().find(|line| line.ends_with(" --check")).expect("it is checked");
    assert!(check.contains("nearfar serve --config /etc/nearfar/nearfar.toml"), "{check}");
    let mut command = nearfar(&["serve", "--config", "etc/nearfar.toml", "--check"]);
    run(command.current_dir(directory)).assert_success();
}

/// A node that has this one as its broker elsewhere becomes ready.
#[track_caller]
fn our_client_connects(directory: &Path, remote: &str, tls: &str) {
    let text = format!(
        "[remote]\nhost = \"localhost\"\n{remote}\n[remote.tls]\nca_file = \"ca.pem\"\n{tls}\n\
         [deployments.other]\nmodel = {MODEL:?}\ntopic_prefix = \"other/\"\n"
    );
    std::fs::write(directory.join("elsewhere.toml"), text).unwrap();
    let process = Process::start(nearfar(&["serve", "--config", "elsewhere.toml"]).current_dir(directory));
    assert!(process.line().starts_with("ready mqtt=localhost:"));
    process.terminate().assert_success();
}

fn mosquitto_s_clients_do_what_the_rules_say(directory: &Path, ports: &[&str]) {
    let by_password =
        |user: &str| format!("-h localhost -p {} --cafile ca.pem -u {user} -P 'secret of {user}'", ports[0]);
    let by_certificate =
        format!("-h localhost -p {} --cafile ca.pem --cert pump-9.pem --key pump-9.key", ports[1]);
    for (device, who) in [("pump-7", by_password("pump-7")), ("pump-9", by_certificate)] {
        std::fs::write(directory.join("request"), request(device, 7)).unwrap();
        // The subscriber publishes nothing, so the request is sent again until there is an answer.
        let script = format!(
            "mosquitto_sub {who} -t ml/inference/result/{device} -C 1 -W 60 > answer & \
             while kill -0 $! 2>/dev/null; do mosquitto_pub {who} -q 1 -t ml/inference/request -f request; done; cat answer"
        );
        let (_, said) = shell(directory, &script);
        assert!(said.contains(&format!("\"device_id\":\"{device}\"")), "{said}");
    }
    let script = format!("mosquitto_sub {} -t ml/inference/result/pump-7 -C 1 -W 60", by_password("pump-8"));
    let (_, said) = shell(directory, &script);
    assert!(said.contains("denied") && !said.contains("device_id"), "{said}");
}
