#!/usr/bin/env bash
# How this service is operated. Here a release is live when its name stands in the file `live`; with yours, this script asks your platform.
#   operate.sh current          prints the release that is live
#   operate.sh deploy RELEASE   makes a release live
#   operate.sh serve            serves the live release on $PORT until it is ended; only where the service runs nowhere else
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
case $1 in
  current) cat live ;;
  deploy)
    test -f "releases/$2/service.py" || { echo "there is no release $2" >&2; exit 1; }
    echo "$2" > live
    ;;
  serve) exec python3 "releases/$(cat live)/service.py" ;;
  *) echo "usage: operate.sh current | deploy RELEASE | serve" >&2; exit 2 ;;
esac
