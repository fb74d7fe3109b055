#!/bin/bash
# certificate.sh KERNEL: prints the certificate of the key that dkms signs modules of a kernel
# with. The files of its configuration are those of bash, and read as dkms reads them.
set -euo pipefail
mok_certificate=
# shellcheck disable=SC2034 # the files may use it
kernelver=$1
for file in /etc/dkms/framework.conf /etc/dkms/framework.conf.d/*.conf; do
    if [[ -e $file ]]; then
        set +eu
        # shellcheck disable=SC1090
        . "$file" >/dev/null
        set -eu
    fi
done
echo "${mok_certificate:-/var/lib/dkms/mok.pub}"
