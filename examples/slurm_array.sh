#!/usr/bin/env bash
#SBATCH --job-name=issc-sense
#SBATCH --array=1-16
#SBATCH --cpus-per-task=1
#SBATCH --time=00:30:00
#SBATCH --output=%x-%a.log
# A Monte Carlo on a cluster without Dask: each task of the array runs its share of the trials and leaves a part; the
# parts together give the bits of one run.
#
#   sbatch --wait examples/slurm_array.sh && issc merge sense-part-*.json --json
#
# Without Slurm:  for task in 1 2 3 4; do SLURM_ARRAY_TASK_ID=$task SLURM_ARRAY_TASK_COUNT=4 examples/slurm_array.sh; done
set -euo pipefail
task=${SLURM_ARRAY_TASK_ID:?run this as an array job}
tasks=${SLURM_ARRAY_TASK_COUNT:?run this as an array job}
part=sense-part-$task.json

# A task that was preempted and starts again does not leave half a part behind.
issc sense --scene "${SCENE:-paper}" --trials "${TRIALS:-1000000}" --seed "${SEED:-1}" --shard "$task/$tasks" > "$part.partial"
mv "$part.partial" "$part"
