#!/bin/sh
# archive.sh DIR NAME EPOCH writes a tar archive of DIR/NAME to standard output, without
# anything that depends on this machine or this run. All files are from the time EPOCH.
exec tar --sort=name --mtime="@$3" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --format=ustar -C "$1" -cf - "$2"
