resource "aws_security_group" "stores" {
  name        = "waitroom-stores"
  description = "Redis and PostgreSQL, for the hosts alone"
  vpc_id      = data.aws_vpc.site.id
  dynamic "ingress" {
    for_each = { redis = 6379, postgres = 5432 }
    content {
      description     = ingress.key
      from_port       = ingress.value
      to_port         = ingress.value
      protocol        = "tcp"
      security_groups = [aws_security_group.host.id]
    }
  }
}

# ---- The line. docs/redis.md says what a lost machine loses.

resource "aws_elasticache_subnet_group" "line" {
  name       = "waitroom"
  subnet_ids = var.private_subnets
}

resource "aws_elasticache_parameter_group" "line" {
  name   = "waitroom-redis7"
  family = "redis7"
  # Full is an error, not a reason to throw places away. (The default is volatile-lru. ElastiCache has no append-only file for Redis 7:
  # `appendonly` cannot be set here, which is why waitroom waits for a replica.)
  parameter {
    name  = "maxmemory-policy"
    value = "noeviction"
  }
}

resource "aws_elasticache_replication_group" "line" {
  replication_group_id = "waitroom"
  description          = "waitroom's lines"
  engine               = "redis"
  engine_version       = "7.1"
  node_type            = var.redis_type
  parameter_group_name = aws_elasticache_parameter_group.line.name
  subnet_group_name    = aws_elasticache_subnet_group.line.name
  security_group_ids   = [aws_security_group.stores.id]
  # A primary and two replicas: with redis_replicas = 1 the loss of any one neither loses a place nor stops the sale.
  num_cache_clusters         = 3
  automatic_failover_enabled = true
  multi_az_enabled           = true
  at_rest_encryption_enabled = true
  transit_encryption_enabled = true
  auth_token                 = var.redis_auth_token
  # Not in the sale: a maintenance is a failover.
  maintenance_window         = "tue:03:00-tue:04:00"
  auto_minor_version_upgrade = false
  # Redis is no backup (docs/backup.md).
  snapshot_retention_limit = 0
  apply_immediately        = false
}

# ---- The bookings and the journals.

resource "aws_db_subnet_group" "bookings" {
  name       = "waitroom"
  subnet_ids = var.private_subnets
}

resource "aws_db_parameter_group" "bookings" {
  name   = "waitroom-postgres16"
  family = "postgres16"
  # fsync and full_page_writes cannot be switched off in RDS. This one could be, and waitroom's doctor would refuse it.
  parameter {
    name  = "synchronous_commit"
    value = "on"
  }
  # Checkpoints spread over a quarter of an hour, not forced in the middle of an opening.
  parameter {
    name  = "checkpoint_timeout"
    value = "900"
  }
  parameter {
    name  = "max_wal_size"
    value = "4096"
  }
  # Nobody talks to it in clear.
  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
}

resource "aws_db_instance" "bookings" {
  identifier             = "waitroom"
  engine                 = "postgres"
  engine_version         = "16"
  instance_class         = var.postgres_type
  db_name                = "waitroom"
  username               = "waitroom"
  db_subnet_group_name   = aws_db_subnet_group.bookings.name
  parameter_group_name   = aws_db_parameter_group.bookings.name
  vpc_security_group_ids = [aws_security_group.stores.id]
  # Its password is made and kept by Secrets Manager; it is in no file and no state.
  manage_master_user_password = true
  storage_type                = "gp3"
  allocated_storage           = 100
  storage_encrypted           = true
  # A standby in another zone that has each commit: a lost zone loses no booking.
  multi_az = true
  # Point-in-time recovery to any second of two weeks: this is the backup of the bookings, and of the lines' journals.
  backup_retention_period               = 14
  backup_window                         = "04:00-05:00"
  maintenance_window                    = "tue:03:00-tue:04:00"
  auto_minor_version_upgrade            = false
  deletion_protection                   = true
  enabled_cloudwatch_logs_exports       = ["postgresql"]
  copy_tags_to_snapshot                 = true
  final_snapshot_identifier             = "waitroom-last"
  performance_insights_enabled          = true
  performance_insights_retention_period = 7
}

output "redis" {
  description = "redis-url: rediss://:<redis_auth_token>@<this>:6379"
  value       = aws_elasticache_replication_group.line.primary_endpoint_address
}

output "postgres" {
  description = "postgres-url: postgres://waitroom:<its secret>@<this>/waitroom?sslmode=verify-full&sslrootcert=/etc/waitroom/rds.pem"
  value       = aws_db_instance.bookings.address
}

output "postgres_secret" {
  description = "Where Secrets Manager keeps its password."
  value       = aws_db_instance.bookings.master_user_secret[0].secret_arn
}
