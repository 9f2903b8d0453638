#!/bin/sh
echo "no JDK" >&2; exit 69
