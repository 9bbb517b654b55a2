#!/usr/bin/env bash
# The whole active-learning loop on real images, with the commands a user would type.
#
#     bash demo.sh [FOLDER]        (default: ./demo; `make demo` installs dalcli first)
#
# Interrupted anywhere, run it again: every command continues where it was or says that it is up to date.
# ROUNDS and BUDGET can be set in the environment.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${1:-demo}
rounds=${ROUNDS:-6}
budget=${BUDGET:-40}

if [ -t 1 ]; then bold=$'\033[1m' plain=$'\033[0m'; else bold='' plain=''; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
run() { printf '\n$ %s\n' "$*"; "$@"; }

# A query prints CSV; it goes into a file here, as it would by hand.
query() {
    printf '\n$ dalcli query %s > to_label.csv\n' "$*"
    dalcli query "$@" > to_label.csv
    head -n 4 to_label.csv
    echo "... ($(($(wc -l < to_label.csv) - 1)) images)"
}

label() {
    say "The labeler fills in the label column (here: from truth.csv)."
    python "$here/label.py" truth.csv < to_label.csv > labels.csv
    run dalcli ingest-labels labels.csv
}

[ -f "$folder/truth.csv" ] || {
    say "Writing scikit-learn's handwritten digits as PNG files into $folder/"
    python "$here/prepare.py" "$folder"
}
cd "$folder"

say "A workspace over a folder of unlabeled images, with a labeled test set"
run dalcli init images --classes 0,1,2,3,4,5,6,7,8,9 --test test.csv --config "$here/dalcli.yaml"

say "A first batch: there is no model yet, so it is drawn at random"
query --new --key start --budget "$budget"
label

for round in $(seq "$rounds"); do
    say "Round $round of $rounds"
    run dalcli train
    run dalcli score
    printf '\n$ dalcli evaluate | head -n 5\n'
    dalcli evaluate | head -n 5
    printf '\n$ dalcli plan | head -n 1\n'
    dalcli plan | head -n 1
    query --new --key "round-$round" --budget "$budget"
    label
done

say "The last labels"
run dalcli train
run dalcli evaluate

say "Where the loop stands"
run dalcli status
say "The learning curve"
dalcli status --json | python "$here/curve.py"
say "What the next labels buy, and how good forecasts were so far"
run dalcli plan
run dalcli plan history

say "What the labels were bought for: predictions, a model that runs without dalcli, a page for the person who pays"
run dalcli predict --output predictions.csv
head -n 4 predictions.csv
run dalcli export-model exported
run dalcli report --output report.html
say "Open $PWD/report.html in a browser"
