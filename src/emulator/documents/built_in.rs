//! The documents that every account has: AWS's own, and the preferences as they are before anybody edits them.

/// The document whose inputs are the account's preferences.
pub(crate) const PREFERENCES: &str = "SSM-SessionManagerRunShell";

/// Name and content of the documents that belong to AWS.
pub(crate) const AWS_DOCUMENTS: [(&str, &str); 5] = [
    ("AWS-StartInteractiveCommand", INTERACTIVE),
    ("AWS-StartNonInteractiveCommand", NON_INTERACTIVE),
    ("AWS-StartSSHSession", SSH),
    ("AWS-StartPortForwardingSession", PORT),
    ("AWS-StartPortForwardingSessionToRemoteHost", REMOTE_HOST),
];

pub(crate) const DEFAULT_PREFERENCES: &str = r#"{
  "schemaVersion": "1.0",
  "description": "Document to hold regional settings for Session Manager",
  "sessionType": "Standard_Stream",
  "inputs": {
    "s3BucketName": "",
    "s3KeyPrefix": "",
    "s3EncryptionEnabled": true,
    "cloudWatchLogGroupName": "",
    "cloudWatchEncryptionEnabled": true,
    "cloudWatchStreamingEnabled": false,
    "kmsKeyId": "",
    "runAsEnabled": false,
    "runAsDefaultUser": "",
    "idleSessionTimeout": "20",
    "maxSessionDuration": "",
    "shellProfile": {
      "windows": "",
      "linux": ""
    }
  }
}"#;

const INTERACTIVE: &str = r#"{
  "schemaVersion": "1.0",
  "description": "Document to run single interactive command on an instance",
  "sessionType": "InteractiveCommands",
  "parameters": {
    "command": {
      "type": "String",
      "description": "The command to run on the instance",
      "allowedPattern": "^[\\s\\S]+$"
    }
  },
  "properties": {
    "linux": { "commands": "{{ command }}", "runAsElevated": false },
    "macos": { "commands": "{{ command }}", "runAsElevated": false },
    "windows": { "commands": "{{ command }}", "runAsElevated": false }
  }
}"#;

const NON_INTERACTIVE: &str = r#"{
  "schemaVersion": "1.0",
  "description": "Document to run single non-interactive command on an instance",
  "sessionType": "NonInteractiveCommands",
  "parameters": {
    "command": {
      "type": "String",
      "description": "The command to run on the instance",
      "allowedPattern": "^[\\s\\S]+$"
    }
  },
  "properties": {
    "linux": { "commands": "{{ command }}", "runAsElevated": false },
    "macos": { "commands": "{{ command }}", "runAsElevated": false },
    "windows": { "commands": "{{ command }}", "runAsElevated": false }
  }
}"#;

const SSH: &str = r#"{
  "schemaVersion": "1.0",
  "description": "Document to start SSH connection over Session Manager",
  "sessionType": "Port",
  "parameters": {
    "portNumber": {
      "type": "String",
      "description": "(Optional) SSH port number of the server on the instance",
      "allowedPattern": "^([1-9]|[1-9][0-9]{1,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$",
      "default": "22"
    }
  },
  "properties": { "portNumber": "{{ portNumber }}" }
}"#;

const PORT: &str = r#"{
  "schemaVersion": "1.0",
  "description": "Document to start port forwarding session over Session Manager",
  "sessionType": "Port",
  "parameters": {
    "portNumber": {
      "type": "String",
      "description": "(Optional) Port number of the server on the instance",
      "allowedPattern": "^([1-9]|[1-9][0-9]{1,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$",
      "default": "80"
    },
    "localPortNumber": {
      "type": "String",
      "description": "(Optional) Port number on local machine to forward traffic to. An open port is chosen at run-time if not provided",
      "allowedPattern": "^([0-9]|[1-9][0-9]{1,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$",
      "default": "0"
    }
  },
  "properties": {
    "portNumber": "{{ portNumber }}",
    "type": "LocalPortForwarding",
    "localPortNumber": "{{ localPortNumber }}"
  }
}"#;

const REMOTE_HOST: &str = r#"{
  "schemaVersion": "1.0",
  "description": "Document to start port forwarding session over Session Manager to remote host",
  "sessionType": "Port",
  "parameters": {
    "host": {
      "type": "String",
      "description": "(Optional) Hostname or IP address of the destination server",
      "allowedPattern": "^[^,$^&\\(\\)!;'\\\"<>\\`{}\\[\\]\\|#=]{3,}$",
      "default": "localhost"
    },
    "portNumber": {
      "type": "String",
      "description": "(Optional) Port number of the server on the instance",
      "allowedPattern": "^([1-9]|[1-9][0-9]{1,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$",
      "default": "80"
    },
    "localPortNumber": {
      "type": "String",
      "description": "(Optional) Port number on local machine to forward traffic to. An open port is chosen at run-time if not provided",
      "allowedPattern": "^([0-9]|[1-9][0-9]{1,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$",
      "default": "0"
    }
  },
  "properties": {
    "host": "{{ host }}",
    "portNumber": "{{ portNumber }}",
    "type": "LocalPortForwarding",
    "localPortNumber": "{{ localPortNumber }}"
  }
}"#;
