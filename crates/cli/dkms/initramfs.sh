#!/bin/sh
# initramfs.sh KERNEL...: makes the initramfs of each kernel anew, if it has one: amdgpu, and files
# of modprobe.d, may be in it. One that fails does not keep the others from being made.
set -eu
failed=0
for kernel in "$@"; do
    initramfs=/boot/initrd.img-$kernel
    if [ ! -e "$initramfs" ]; then
        echo "there is no $initramfs: nothing to update"
    elif command -v update-initramfs >/dev/null; then
        update-initramfs -u -k "$kernel" || failed=1
    elif command -v dracut >/dev/null; then
        # As Debian's hook for new kernels calls it: its own default is another name.
        dracut --force "$initramfs" "$kernel" || failed=1
    else
        echo "amdgpu-rdna: neither update-initramfs nor dracut is here to make $initramfs anew" >&2
        failed=1
    fi
done
exit "$failed"
