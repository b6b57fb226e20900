#!/usr/bin/env bash
# usage: tools/functions.sh FROM TO
# Takes the functions, and the program of tasks, as cargo built them in FROM and lays them where template.yaml looks for them: each as TO/NAME/bootstrap, without symbols.
set -euo pipefail

from=$1 to=$2
for function in trigger planner step-dispatcher completion-handler step-runner; do
  mkdir -p "$to/$function"
  strip --strip-all -o "$to/$function/bootstrap" "$from/$function"
done
