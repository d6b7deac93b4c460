#!/bin/sh
. /srv/lib/format.sh
line "the worker has nothing to do"
