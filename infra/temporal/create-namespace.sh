#!/bin/sh
# Makes the namespace that gateways and workers use, once the server answers.
set -eu
until temporal operator cluster health --address temporal:7233; do sleep 2; done
temporal operator namespace describe --address temporal:7233 --namespace default ||
  temporal operator namespace create --address temporal:7233 --namespace default --retention 7d
