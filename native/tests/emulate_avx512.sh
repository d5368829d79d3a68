#!/bin/bash
# Runs the AVX-512 kernels on a machine without AVX-512: boots a Linux kernel with kernels_test as its
# only program in Bochs, which emulates an Ice Lake processor. Takes 3 minutes of one core.
#
#   apt-get install bochs bochs-term bochsbios vgabios isolinux syslinux-common xorriso cpio
#   native/tests/emulate_avx512.sh -DPython_EXECUTABLE=.venv/bin/python
#
# Arguments are given to cmake. WORK names the folder for everything made here; KERNEL a Linux kernel to
# boot instead of Debian's, which is downloaded, not installed.
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
work=${WORK:-/tmp/mquans-emulation}
mkdir -p "$work"/{build,root,iso}

cmake -S "$source" -B "$work/build" -DMQUANS_NATIVE_TESTS=ON -DCMAKE_EXE_LINKER_FLAGS=-static \
    -DCMAKE_CXX_FLAGS="-include $source/native/tests/bochs_2_7.h" "$@" > /dev/null
cmake --build "$work/build" --target kernels_test
cd "$work"

if [ -z "${KERNEL:-}" ]; then
    if ! ls kernel/boot/vmlinuz-* > /dev/null 2>&1; then
        package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/ {print $2; exit}')
        apt-get download "$package"
        dpkg-deb -x "$package"_*.deb kernel
    fi
    KERNEL=$(echo kernel/boot/vmlinuz-*)
fi

# The first program: runs the test, then asks Bochs to stop.
cat > init.c << 'END'
#include <stdio.h>
#include <sys/io.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

int main(void) {
    if (fork() == 0) {
        execl("/kernels_test", "kernels_test", "avx512", NULL);
        _exit(127);
    }
    int status = -1;
    wait(&status);
    if (WIFSIGNALED(status)) printf("killed by signal %d\n", WTERMSIG(status));
    printf("exit status %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    fflush(stdout);
    tcdrain(1);
    ioperm(0x8900, 1, 1);
    for (const char* c = "Shutdown"; *c; ++c) outb(*c, 0x8900);
    for (;;) pause();
}
END
cc -O2 -static init.c -o root/init
strip build/kernels_test -o root/kernels_test
(cd root && find init kernels_test | cpio --quiet -o -H newc) > iso/initrd.img

# Bochs announces three features without what the kernel expects along with them: protection keys (no
# place in the saved state), compact saved states (wrong size) and fast short moves (no fast long ones).
cat > iso/isolinux.cfg << 'END'
DEFAULT test
LABEL test
 KERNEL vmlinuz
 INITRD initrd.img
 APPEND console=ttyS0 loglevel=2 nokaslr nosmp mitigations=off panic=-1 reboot=triple random.trust_cpu=on tsc=reliable clearcpuid=pku,ospke,xsaves,xsavec,fsrm
END
cp "$KERNEL" iso/vmlinuz
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 iso
xorriso -as mkisofs -quiet -o disc.iso -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 \
    -boot-info-table iso 2> xorriso.log

cat > bochsrc << 'END'
config_interface: textconfig
display_library: term
memory: guest=256, host=256
cpu: model=corei7_icelake_u, ips=50000000, reset_on_triple_fault=0
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path=disc.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=serial.txt
speaker: enabled=0
clock: sync=none
log: bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
END
echo continue > commands
rm -f serial.txt
# The display needs a terminal, the debugger that Debian compiles in a first command.
TERM=vt100 timeout 3000 script -qec "stty rows 50 cols 100; bochs -q -f bochsrc -rc commands -unlock" \
    /dev/null < /dev/null > screen.txt 2>&1 || true
cat serial.txt
grep -q '^exit status 0' serial.txt
