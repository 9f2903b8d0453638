variable "region" {
  type = string
}

variable "vpc_id" {
  type = string
}

variable "public_subnets" {
  description = "Of the balancer: at least two, in different zones."
  type        = list(string)
  validation {
    condition     = length(var.public_subnets) >= 2
    error_message = "A balancer needs two zones."
  }
}

variable "private_subnets" {
  description = "Of hosts and stores: at least two, in different zones, with a way out for updates."
  type        = list(string)
  validation {
    condition     = length(var.private_subnets) >= 2
    error_message = "Hosts and stores need two zones."
  }
}

variable "certificate_arn" {
  description = "The site's certificate, in ACM."
  type        = string
}

variable "release" {
  description = "Of each colour the program in S3, s3://bucket/waitroom-<version>-x86_64-unknown-linux-musl, and its SHA-256."
  type = object({
    blue  = object({ bucket = string, key = string, sha256 = string })
    green = object({ bucket = string, key = string, sha256 = string })
  })
}

variable "secrets" {
  description = "ARNs in Secrets Manager, which you make: whole contents of the files of the same names in /etc/waitroom."
  type = object({
    redis-url    = string
    postgres-url = string
    admin-token  = string
    signing-keys = string
  })
}

variable "redis_auth_token" {
  description = "ElastiCache's password, 16 to 128 characters. It is in the state: keep that encrypted."
  type        = string
  sensitive   = true
}

variable "active" {
  description = "Which colour gets visitors."
  type        = string
  default     = "blue"
  validation {
    condition     = contains(["blue", "green"], var.active)
    error_message = "blue or green."
  }
}

variable "instance_type" {
  description = "Network and file descriptors matter more than memory."
  type        = string
  default     = "c7i.xlarge"
}

variable "redis_type" {
  type    = string
  default = "cache.r7g.large"
}

variable "postgres_type" {
  type    = string
  default = "db.m7g.large"
}
