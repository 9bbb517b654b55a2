#!/usr/bin/env bash
# One night of the loop: take in the labels that came back, train, measure, score, hand out the next batch, unless
# `dalcli plan` says that the target (plan.target in dalcli.yaml) is proven, or out of reach: then a person decides.
#
#     nightly.sh WORKSPACE
#
# Labels come in as WORKSPACE/inbox/*.csv (write elsewhere and rename, so that no half-written file is read) and move
# on to inbox/done/; the next batch is WORKSPACE/outbox/to_label.csv. Running it twice does no second work.
# stdout is the log. stderr stays empty unless somebody must act: cron mails it. The environment's bin folder must be
# in PATH.
set -euo pipefail

cd -- "${1:?usage: nightly.sh WORKSPACE}"
export DALCLI_WORKSPACE=$PWD
mkdir -p inbox/done outbox
said=$(mktemp)
trap 'rm -f -- "$said"' EXIT
status=0  # of the last command
result=0  # of this script

# Run dalcli, log what it says, and leave its exit status in `status`.
dal() {
  status=0
  dalcli --quiet "$@" >"$said" 2>&1 || status=$?
  printf '%s dalcli %s: exit %d\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" "$status"
  cat -- "$said"
}

# Tell a person: cron mails what is written here.
mail_it() {
  printf 'dalcli %s: exit %d in %s\n' "$1" "$status" "$PWD" >&2
  cat -- "$said" >&2
}

# Go on after success; otherwise end the night in the way that the exit code asks for.
go_on() {
  case $status in
    0) ;;
    4) exit "$result" ;;  # locked: another run is at work, and the next night will do
    5 | 6)                # not ready, or nothing left: dalcli has said in the log what to do
      echo "stopping here"
      exit "$result"
      ;;
    *)
      mail_it "$1"
      exit "$status"
      ;;
  esac
}

for labels in inbox/*.csv; do
  [[ -e $labels ]] || continue
  dal ingest-labels "$labels"
  if [[ $status -eq 3 ]]; then  # a bad file stays where it is; the others still count
    [[ -e $labels ]] || continue  # none: another run has just taken it
    mail_it ingest-labels
    result=3
    continue
  fi
  go_on ingest-labels
  [[ ! -e $labels ]] || mv -- "$labels" "inbox/done/$(date -u +%Y%m%dT%H%M%SZ)-${labels##*/}"
done

dal train
if [[ $status -ne 5 ]]; then  # 5: no labels yet, so the batch below is the first one, chosen without a model
  go_on train
  dal evaluate
  [[ $status -eq 5 ]] || go_on evaluate  # 5: no evaluation labels yet
  dal score
  go_on score
  dal plan --exit-code
  case $status in
    10 | 11)  # target-reached, infeasible
      mail_it plan
      exit "$result"
      ;;
    12 | 13) ;;  # more evaluation labels or rounds are needed to tell
    *) go_on plan ;;
  esac
fi
dal query --output outbox/to_label.csv
go_on query
exit "$result"
