#!/bin/sh
. /srv/lib/format.sh
case "$1" in
--check) exit 0 ;;
*) line "@GREETING@ from the api" ;;
esac
