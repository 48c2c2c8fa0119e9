#!/usr/bin/env bash
# Kills a run at random moments and resumes it, until it has been killed N times and ended; its models must have the bytes of a run that was
# never killed. Prints where it was killed.
#
# Usage: kill_and_resume.sh MOSLIM N FOLDER [--set KEY=VALUE ...]
#   MOSLIM  the program, such as target/release/moslim
#   N       how often it is killed
#   FOLDER  for the runs
# The settings should make a run of some seconds; several runs are killed one after the other until N is reached.
set -u
moslim=$1 n=$2 folder=$3
shift 3
mkdir -p "$folder"
[ -d "$folder/straight/policy" ] || "$moslim" train quickstart --quiet --out "$folder/straight" --overwrite "$@" || exit 1
began=$(date +%s%N)
"$moslim" train quickstart --quiet --out "$folder/timed" --overwrite "$@" || exit 1
length_ms=$((($(date +%s%N) - began) / 1000000))
models="start/model.safetensors reward-model/model.safetensors policy/model.safetensors"
sums() { (cd "$1" && sha256sum $models); }
killed=0 runs=0 wrong=0
: >"$folder/moments"
while [ "$killed" -lt "$n" ]; do
  out=$folder/killed
  rm -rf "$out"
  "$moslim" train quickstart --quiet --out "$out" "$@" 2>"$folder/log" &
  pid=$!
  while :; do
    # Somewhere within half the length of a run, in milliseconds.
    sleep "$(awk -v seed="$RANDOM$killed" -v most="$length_ms" 'BEGIN { srand(seed); print rand() * most / 2000 }')"
    if [ "$killed" -lt "$n" ] && kill -9 "$pid" 2>/dev/null; then
      wait "$pid" 2>/dev/null
      killed=$((killed + 1))
      at=$(cd "$out" 2>/dev/null && ls -d checkpoints/*/ 2>/dev/null | tr '\n' ' ')
      step=$(wc -l 2>/dev/null <"$out/metrics/policy.jsonl" || echo 0)
      unfinished=$(find "$out" -name '.*' ! -name .lock 2>/dev/null | wc -l)
      echo "${at:-no checkpoint}, policy step $step, $unfinished unfinished files" >>"$folder/moments"
      if [ -f "$out/recipe.toml" ]; then
        "$moslim" train --resume "$out" --quiet 2>"$folder/log" &
      else
        "$moslim" train quickstart --quiet --out "$out" --overwrite "$@" 2>"$folder/log" &
      fi
      pid=$!
    else
      break
    fi
  done
  if ! wait "$pid"; then
    cat "$folder/log"
    exit 1
  fi
  runs=$((runs + 1))
  if [ "$(sums "$out")" != "$(sums "$folder/straight")" ]; then
    wrong=$((wrong + 1))
    cp -r "$out" "$folder/wrong-$wrong"
  fi
done
sed 's/policy step [0-9]*/policy step */' "$folder/moments" | sort | uniq -c | sort -rn
echo "$killed kills in $runs runs, $wrong with other bytes"
[ "$wrong" -eq 0 ]
