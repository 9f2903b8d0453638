# waitroom in AWS: two EC2 hosts (blue, green) behind an application load balancer, ElastiCache for the line, RDS for the bookings.
# What must fit together, and how secrets get in: docs/deploy.md, "AWS".

terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 5.80" }
  }
}

provider "aws" {
  region = var.region
  default_tags { tags = { project = "waitroom" } }
}

data "aws_vpc" "site" {
  id = var.vpc_id
}

data "aws_subnet" "public" {
  for_each = toset(var.public_subnets)
  id       = each.value
}

# Amazon Linux has systemd and the AWS tools; the binary is static and asks for nothing else.
data "aws_ssm_parameter" "image" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
}

locals {
  # A quarter of it is longer than the two checks of 5 s that the balancer takes to notice (docs/instances.md).
  drain_s = 45
  # Both serve; the balancer sends newcomers to the active one.
  hosts = { blue = var.private_subnets[0], green = var.private_subnets[1] }
}
