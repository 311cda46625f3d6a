#!/bin/sh
# Trains in the background at the lowest priority, until killed; called again, it goes on where the training stopped.
#
#   background.sh STATE PICTURES TUNING [further options of train.py]
#
# STATE is a folder outside the repository: checkpoint long.pt, its log long.csv, measurements on TUNING check.csv,
# messages long.txt. The training waits while STATE/pause exists. Without a checkpoint it starts from wide/weights.safetensors.
set -eu
[ $# -ge 3 ] || { sed -n '2,6p' "$0"; exit 2; }
state=$(mkdir -p "$1" && cd "$1" && pwd)
pictures=$(cd "$2" && pwd)
tuning=$(cd "$3" && pwd)
shift 3
cd "$(dirname "$0")"
python=${PYTHON:-python3}

export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
# large arrays from reused, large pages: a tenth faster
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 GLIBC_TUNABLES=glibc.malloc.hugetlb=1

if [ ! -e "$state/long.pt" ] && [ ! -e "$state/start.pt" ]; then
    nice -n 19 "$python" widen.py --weights wide/weights.safetensors --data "$pictures" --out "$state/start.part"
    mv "$state/start.part" "$state/start.pt"
fi
setsid nohup nice -n 19 "$python" train.py --steady --data "$pictures" --init "$state/start.pt" --out "$state/long.pt" \
    --log "$state/long.csv" --check "$tuning" --check-log "$state/check.csv" --pause-file "$state/pause" \
    --rate 3e-4 --slowing 12 --average 0.9997 --nice 19 "$@" >>"$state/long.txt" 2>&1 </dev/null &
echo "process $!, messages in $state/long.txt"
