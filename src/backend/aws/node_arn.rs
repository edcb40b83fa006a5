//! What AWS calls a node where it is a resource
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html>).

/// An instance, what was registered by activation, or an ECS task (`ecs:<cluster>_<task>_<runtime>`).
pub(super) fn node_arn(partition: &str, account: &str, region: &str, id: &str) -> String {
    if let Some(task) = id.strip_prefix("ecs:") {
        // a cluster's name may have underscores
        let mut parts = task.rsplitn(3, '_').skip(1);
        let (task, cluster) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        return format!("arn:{partition}:ecs:{region}:{account}:task/{cluster}/{task}");
    }
    match id.starts_with("mi-") {
        true => format!("arn:{partition}:ssm:{region}:{account}:managed-instance/{id}"),
        false => format!("arn:{partition}:ec2:{region}:{account}:instance/{id}"),
    }
}
