// must fail: E0560
use portcullis::internals::backend::lanes::SessionRequest;
use portcullis::internals::model::NodeId;

pub fn elsewhere(node: NodeId) -> SessionRequest {
    SessionRequest { target: node, ..SessionRequest::new("Portcullis-OutLane") }
}
