//! What a refusal is called in SFTP.

use crate::files::access::Refusal;
use crate::transport::file_service::errno::{
    EACCES, EBADF, EFAULT, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOSYS, ENOTDIR, EPERM,
};
use crate::transport::file_service::sftp::reply::{
    BAD_MESSAGE, FAILURE, NO_SUCH_FILE, OP_UNSUPPORTED, PERMISSION_DENIED, Status,
};

impl From<&Refusal> for Status {
    fn from(refusal: &Refusal) -> Self {
        let (code, message) = match refusal {
            Refusal::Denied(denial) => (PERMISSION_DENIED, format!("Permission denied: {}", denial.text)),
            // errno as in OpenSSH's sftp-server, so that clients react as they do there
            Refusal::Node { errno, message } => match *errno {
                ENOENT | ENOTDIR | EBADF | ELOOP => (NO_SUCH_FILE, message.clone()),
                EPERM | EACCES | EFAULT => (PERMISSION_DENIED, message.clone()),
                ENAMETOOLONG | EINVAL => (BAD_MESSAGE, message.clone()),
                ENOSYS => (OP_UNSUPPORTED, message.clone()),
                _ => (FAILURE, message.clone()),
            },
            Refusal::NodeGone(why) => (FAILURE, format!("the connection to the node's file service was lost: {why}")),
            Refusal::Evidence(why) => (FAILURE, format!("this can't be recorded, so it is not done: {why}")),
        };
        Self { code, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_called_as_openssh_calls_them() {
        let code = |errno| Status::from(&Refusal::Node { errno, message: "in words".to_owned() }).code;
        assert_eq!(code(ENOENT), NO_SUCH_FILE);
        assert_eq!(code(EACCES), PERMISSION_DENIED);
        let full = Refusal::Node { errno: 28, message: "No space left on device".to_owned() };
        assert_eq!(Status::from(&full), Status::failure("No space left on device"));
        assert_eq!(code(EBADF), NO_SUCH_FILE);
        // EOPNOTSUPP, what a link has no mode by
        assert_eq!(code(95), FAILURE);
    }
}
