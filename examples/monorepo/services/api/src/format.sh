line() { printf '[%s] %s\n' "$(id -un)" "$1"; }
