#!/bin/bash
# What a host does once, when it is born. Terraform fills in what is in $${…}.
set -euo pipefail
useradd --system --no-create-home --shell /sbin/nologin waitroom
install -d -m 0750 -o root -g waitroom /etc/waitroom

aws s3 cp "s3://${release.bucket}/${release.key}" /usr/local/bin/waitroom
echo "${release.sha256}  /usr/local/bin/waitroom" | sha256sum --check --quiet
chmod 0755 /usr/local/bin/waitroom

umask 027
%{ for name, arn in secrets ~}
aws secretsmanager get-secret-value --region "${region}" --secret-id "${arn}" --query SecretString --output text > "/etc/waitroom/${name}"
%{ endfor ~}
# Who vouches for RDS: a private authority of Amazon's, which postgres-url names (sslrootcert).
curl --fail --silent --show-error -o /etc/waitroom/rds.pem https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem
cat > /etc/waitroom/waitroom.toml <<'SETTINGS'
${settings}
SETTINGS
# The balancer asks readyz at this host's own address, and says in which way visitors came. ElastiCache keeps no file: a replica does.
sed -i -e 's|^admin_listen.*|admin_listen = "0.0.0.0:9090"|' \
    -e 's|^trusted_proxies.*|trusted_proxies = ${proxies}|' \
    -e 's|^# redis_replicas.*|redis_replicas = 1|' \
    -e 's|^drain_s.*|drain_s = ${drain_s}|' /etc/waitroom/waitroom.toml
chgrp waitroom /etc/waitroom/*
umask 022

cat > /etc/sysctl.d/60-waitroom.conf <<'SYSCTL'
${sysctl}
SYSCTL
sysctl --system
cat > /etc/systemd/system/waitroom.service <<'UNIT'
${unit}
UNIT
# Longer than drain_s here.
sed -i 's|^TimeoutStopSec=.*|TimeoutStopSec=60|' /etc/systemd/system/waitroom.service
systemctl daemon-reload
systemctl enable --now waitroom
