#!/bin/bash
# Compares nearfar's simulated network with Linux's netem: see docs/networks.md and netem.py.
#
#   benches/netem/netem.sh target/release/nearfar [--only NAME,NAME] [--messages N]        here: root, and a kernel with sch_netem
#   benches/netem/netem.sh --vm target/release/nearfar [...]                               in a virtual machine
#
# The virtual machine needs qemu-system-x86_64, busybox (static), cpio, iproute2 and Debian's Python in /usr/bin, and runs the kernel of
# Debian's linux-image-cloud-amd64, which is fetched with apt-get unless KERNEL names a directory that the package was unpacked to.
# ACCELERATOR is kvm where that works. The default, tcg, emulates the processor and counts time in its instructions: slow, but
# whatever else the machine does leaves no trace in the figures. The machine has no network but its own namespaces.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
model="$here/../../models/anomaly_detector"
in_vm=no
if [ "${1:-}" = --vm ]; then in_vm=yes; shift; fi
program=$(realpath "${1:?which nearfar? (target/release/nearfar)}"); shift

if [ "$in_vm" = no ]; then
    modprobe sch_netem 2>/dev/null || true
    echo "kernel $(uname -r), $(nproc) processors"
    exec python3 "$here/netem.py" --nearfar "$program" --model "$model" "$@"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
kernel=${KERNEL:-}
if [ -z "$kernel" ]; then
    kernel="$work/kernel"; mkdir "$kernel"
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ {print $2; exit}')
    (cd "$work" && apt-get download "$package" >/dev/null 2>&1 && dpkg-deb -x "$package"_*.deb "$kernel")
fi
image=$(ls "$kernel"/boot/vmlinuz-*)
modules=$(ls -d "$kernel"/lib/modules/*)

# The machine's whole file system, in memory.
root="$work/root"
mkdir -p "$root"/{bin,dev,proc,sys,tmp,run,usr/bin,usr/lib,lib/modules,bench,model}
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$program" "$root/bench/nearfar"; strip "$root/bench/nearfar" 2>/dev/null || true
cp "$here/netem.py" "$root/bench/"; cp -rL "$model/." "$root/model/"
cp "$(realpath /usr/bin/python3)" "$root/usr/bin/python3"
python=$(basename "$(realpath /usr/bin/python3)")
tar -C /usr/lib --exclude=test --exclude=idlelib --exclude=lib2to3 --exclude=ensurepip --exclude=config-* \
    --exclude=dist-packages --exclude=__pycache__ -cf - "$python" | tar -C "$root/usr/lib" -xf -
for tool in ip tc; do cp "$(command -v $tool)" "$root/bin/"; done
for tables in /usr/lib/x86_64-linux-gnu/tc /usr/lib/tc /usr/lib64/tc; do
    if [ -d "$tables" ]; then mkdir -p "$root$tables"; cp "$tables"/*.dist "$root$tables/"; fi
done
for binary in "$root/bench/nearfar" "$root/usr/bin/python3" "$root"/bin/{ip,tc} "$root/usr/lib/$python"/lib-dynload/*.so; do
    ldd "$binary" 2>/dev/null | grep -o '/[^ ]*' || true
done | sort -u | while read -r library; do
    mkdir -p "$root$(dirname "$library")"; cp -L "$library" "$root$library"
done
for module in veth sch_netem sch_prio cls_u32; do
    find "$modules" -name "$module.ko*" -exec cp {} "$root/lib/modules/" \;
done
cat > "$root/init" <<INIT
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin HOME=/tmp
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs run /run; mkdir -p /run/netns /var
ln -s /run /var/run
for module in veth sch_netem sch_prio cls_u32; do insmod /lib/modules/\$module.ko* || true; done
ulimit -n 4096
echo "kernel \$(uname -r), virtual machine (${ACCELERATOR:-tcg}) on $(uname -r)"
/usr/bin/python3 /bench/netem.py --nearfar /bench/nearfar --model /model $*
echo "the machine ends"
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc 2>/dev/null) > "$work/initrd"

case ${ACCELERATOR:-tcg} in
    kvm) accelerator=(-accel kvm -cpu host -smp 2) ;;
    *) accelerator=(-accel tcg,thread=single -cpu max -smp 1 -icount "shift=${SHIFT:-1},sleep=off") ;;
esac
qemu-system-x86_64 "${accelerator[@]}" -m 1536 -nographic -no-reboot -nic none -kernel "$image" -initrd "$work/initrd" \
    -append "console=ttyS0 quiet panic=-1 rdinit=/init" < /dev/null |
    tr -d "\r" | sed -n "s/^.*\(kernel [0-9]\)/\1/; /^kernel /,/^the machine ends/p"
