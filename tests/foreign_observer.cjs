// mqtt.js as an observer of everything: `#` and `$SYS/#` in one SUBSCRIBE, then the connection is lost and made again, and `#` must
// still bring messages. Prints the broker's version:
//
//     node foreign_observer.cjs URL PROTOCOL_VERSION
//
// PROTOCOL_VERSION is 4 (MQTT 3.1.1) or 5. The caller limits the time.
"use strict";

const mqtt = require("mqtt");

const [url, version] = process.argv.slice(2);

function fail(why) {
  console.error(`mqtt.js: ${why}`);
  process.exit(1);
}

const client = mqtt.connect(url, { protocolVersion: Number(version), reconnectPeriod: 10 });
let connections = 0;
let told;
client.on("error", (error) => fail(error.message));
client.on("connect", () => {
  connections += 1;
  if (connections === 1) {
    client.subscribe(["#", "$SYS/#"], (error, granted) => {
      if (error) fail(`cannot subscribe: ${error.message}`);
      for (const { topic, qos } of granted) if (qos >= 128) fail(`${topic} is refused: ${qos}`);
    });
  } else {
    client.publish("foreign/observer", "seen", { qos: 1 });
  }
});
client.on("message", (topic, payload) => {
  if (topic === "$SYS/broker/version" && connections === 1 && !told) {
    told = payload.toString();
    client.stream.destroy();
  } else if (topic === "foreign/observer") {
    console.log(told);
    client.end(false, {}, () => process.exit(0));
  }
});
