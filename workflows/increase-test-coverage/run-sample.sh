#!/usr/bin/env bash
# What `make run` does once the command and the Python packages are there: the workflow on a fresh copy of the sample, measured from outside before and after.
# RATCHET is the command, SCRATCH a folder that is emptied, AGENT the agent.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$SCRATCH/parcel
rm -rf "$SCRATCH"
mkdir -p "$SCRATCH"
cp -R "$here/sample" "$project"
export RATCHET_STATE_DIR=$SCRATCH/state PYTHONDONTWRITEBYTECODE=1

# A repository of its own, so that git shows what the run changed, and so that -i publish=commit has one to commit to.
git -C "$project" init --quiet --initial-branch=main
git -C "$project" add .
git -C "$project" -c user.name=sample -c user.email=sample@localhost commit --quiet --message "The sample as it is"

# Prints "coverage of the file, tests": measured here, not taken from the run.
measure() {
  (
    cd "$project"
    export COVERAGE_FILE=$SCRATCH/coverage
    tests=$(python -m coverage run -m pytest --quiet -p no:cacheprovider | tail -n 1)
    echo "$(python -m coverage report --include=parcel/quote.py --format=total) % of the lines of parcel/quote.py, $tests"
  )
}

before=$(measure)
"$RATCHET" run "$here/workflow.yaml" --workspace "$project" --agent "$AGENT" -i target_file=parcel/quote.py
after=$(measure)

echo
echo "measured in ${project#"$PWD"/}, outside the run:"
echo "  before: $before"
echo "  after:  $after"
echo "  changed: $(git -C "$project" status --short --untracked-files=all | tr '\n' ' ')"
echo
echo "look at the run:  RATCHET_STATE_DIR=${RATCHET_STATE_DIR#"$PWD"/} ${RATCHET#"$PWD"/} status last"
