resource "aws_security_group" "balancer" {
  name        = "waitroom-balancer"
  description = "visitors to the balancer"
  vpc_id      = data.aws_vpc.site.id
  dynamic "ingress" {
    for_each = { http = 80, https = 443 }
    content {
      description = "visitors (${ingress.key})"
      from_port   = ingress.value
      to_port     = ingress.value
      protocol    = "tcp"
      cidr_blocks = ["0.0.0.0/0"]
    }
  }
}

# Apart from the group, which the hosts' group names in turn.
resource "aws_security_group_rule" "balancer_to_hosts" {
  for_each                 = { visitors = 8080, health = 9090 }
  description              = each.key
  type                     = "egress"
  from_port                = each.value
  to_port                  = each.value
  protocol                 = "tcp"
  security_group_id        = aws_security_group.balancer.id
  source_security_group_id = aws_security_group.host.id
}

resource "aws_lb" "site" {
  name            = "waitroom"
  subnets         = var.public_subnets
  security_groups = [aws_security_group.balancer.id]
  # waitroom pings after 20 s of silence, and keeps a trusted proxy's idle connections for 75 s: longer than this.
  idle_timeout               = 60
  drop_invalid_header_fields = true
  enable_deletion_protection = true
}

resource "aws_lb_target_group" "colour" {
  for_each = local.hosts
  name     = "waitroom-${each.key}"
  port     = 8080
  protocol = "HTTP"
  vpc_id   = data.aws_vpc.site.id
  # After this the balancer cuts off who is still there. Longer than drain_s, so that waitroom says goodbye first.
  deregistration_delay = 60
  # A socket is one request that lasts an hour: newcomers go where fewer are. (Round robin would fill up a new host as slowly as the
  # old one empties.) It excludes slow_start.
  load_balancing_algorithm_type = "least_outstanding_requests"
  health_check {
    path                = "/readyz"
    port                = "9090"
    matcher             = "200"
    interval            = 5
    timeout             = 4
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_target_group_attachment" "colour" {
  for_each         = local.hosts
  target_group_arn = aws_lb_target_group.colour[each.key].arn
  target_id        = aws_instance.host[each.key].id
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.site.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn
  default_action {
    type = "forward"
    forward {
      dynamic "target_group" {
        for_each = aws_lb_target_group.colour
        content {
          arn    = target_group.value.arn
          weight = target_group.key == var.active ? 100 : 0
        }
      }
    }
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.site.arn
  port              = 80
  protocol          = "HTTP"
  default_action {
    type = "redirect"
    redirect {
      port        = "443"
      protocol    = "HTTPS"
      status_code = "HTTP_301"
    }
  }
}

output "address" {
  description = "Where the site's name leads (CNAME or alias)."
  value       = aws_lb.site.dns_name
}
