#!/usr/bin/env bash
# make screenshots: takes the pictures of the dashboard in docs/screenshots, of a server that has worked for some minutes.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p docs/screenshots
SCREENSHOTS="$ROOT/docs/screenshots" scripts/test.sh --test dashboard --run-ignored only screenshots
