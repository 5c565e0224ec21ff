#!/bin/sh
# Prints the files of FOLDER (beside this script) that match PATTERN, sorted: list-files.sh FOLDER PATTERN
folder=$(dirname "$0")/$1
[ -d "$folder" ] || exit 0
find "$folder" -name "$2" | LC_ALL=C sort
