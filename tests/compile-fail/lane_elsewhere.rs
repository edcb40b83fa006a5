// must fail: E0560
use portcullis::backend::lanes::SessionRequest;
use portcullis::model::NodeId;

pub fn elsewhere(node: NodeId) -> SessionRequest {
    SessionRequest { target: node, ..SessionRequest::new("Portcullis-OutLane") }
}
