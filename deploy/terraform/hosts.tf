resource "aws_security_group" "host" {
  name        = "waitroom-host"
  description = "waitroom and its hosts"
  vpc_id      = data.aws_vpc.site.id
  # Visitors, and the balancer's question whether it is ready. Nobody else from outside.
  ingress {
    description     = "visitors and health, from the balancer"
    from_port       = 8080
    to_port         = 8080
    protocol        = "tcp"
    security_groups = [aws_security_group.balancer.id]
  }
  ingress {
    description     = "readyz, from the balancer; metrics and admin API come by SSM port forwarding or a peer of this group"
    from_port       = 9090
    to_port         = 9090
    protocol        = "tcp"
    security_groups = [aws_security_group.balancer.id]
    self            = true
  }
  egress {
    description = "stores, S3, Secrets Manager"
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "host" {
  statement {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = values(var.secrets)
  }
  statement {
    actions   = ["s3:GetObject"]
    resources = [for release in values(var.release) : "arn:aws:s3:::${release.bucket}/${release.key}"]
  }
}

resource "aws_iam_role" "host" {
  name               = "waitroom-host"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "host" {
  role   = aws_iam_role.host.id
  policy = data.aws_iam_policy_document.host.json
}

# A shell without a port: Session Manager.
resource "aws_iam_role_policy_attachment" "shell" {
  role       = aws_iam_role.host.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "host" {
  name = "waitroom-host"
  role = aws_iam_role.host.name
}

resource "aws_instance" "host" {
  for_each               = local.hosts
  ami                    = data.aws_ssm_parameter.image.value
  instance_type          = var.instance_type
  subnet_id              = each.value
  vpc_security_group_ids = [aws_security_group.host.id]
  iam_instance_profile   = aws_iam_instance_profile.host.name
  monitoring             = true
  ebs_optimized          = true
  # The units, the kernel's settings and waitroom.toml are those of the other ways to deploy.
  user_data = templatefile("${path.module}/host.sh", {
    release  = var.release[each.key]
    secrets  = var.secrets
    region   = var.region
    unit     = file("${path.module}/../systemd/waitroom.service")
    sysctl   = file("${path.module}/../etc/sysctl.conf")
    settings = file("${path.module}/../etc/waitroom.toml")
    proxies  = jsonencode([for subnet in data.aws_subnet.public : subnet.cidr_block])
    drain_s  = local.drain_s
  })
  # A new release is a new host, of the idle colour alone: `release` of that colour, apply, look, then `active`, and apply again.
  user_data_replace_on_change = true
  # A newer image comes with the next release, and never in the middle of a sale.
  lifecycle {
    ignore_changes = [ami]
  }
  metadata_options {
    http_tokens = "required"
  }
  root_block_device {
    encrypted   = true
    volume_size = 20
  }
  tags = { Name = "waitroom-${each.key}" }
}
