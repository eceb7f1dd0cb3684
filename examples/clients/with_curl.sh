#!/bin/sh
# OPENAI_BASE_URL and OPENAI_API_KEY say where and as whom.
set -eu

ask() {
  curl --silent --show-error --fail-with-body "$OPENAI_BASE_URL/chat/completions" \
    -H "authorization: Bearer $OPENAI_API_KEY" -H "content-type: application/json" "$@"
}

ask -d '{"model": "fast", "messages": [{"role": "user", "content": "What does a penstock do?"}]}'
echo
ask -N -d '{"model": "fast", "stream": true, "messages": [{"role": "user", "content": "Count: [[say one two three]]"}]}'
