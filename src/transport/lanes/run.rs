//! A channel from its first lane to its end, on one rung after another.

use tokio::time::Instant;

use super::driver::Driver;
use super::end::End;
use crate::backend::lanes::Lane;
use crate::transport::channel::{Client, Delivery, send_final};
use crate::transport::context::ChannelContext;
use crate::transport::descent::Reason;
use crate::transport::helper::link::Link;

/// Runs a channel to its end. `first` is the session that starts the helper.
pub(in crate::transport) async fn run(mut context: ChannelContext, first: Lane, link: Link, client: Client) {
    let mut driver = Driver::new(context.clone(), first, link, client);
    loop {
        let error = match driver.drive().await {
            End::Failed(error) => error,
            end => return driver.end(end).await,
        };
        if !driver.is_rung_to_blame(Instant::now()) || !context.descend(Reason::Silent(&error)) {
            let error = if driver.runs_no_helper(&error) { context.by_sshd_next(error) } else { error };
            return driver.end(End::Failed(error)).await;
        }
        // the first one is ended before the next begins: a slow node must not run the command twice
        let (link, client) = driver.abandon_rung().await;
        if client.deliveries.is_closed() {
            return;
        }
        match context.open_first().await {
            Ok(first) => driver = Driver::new(context.clone(), first, link, client),
            Err(error) => return send_final(client.deliveries, vec![Delivery::Failed(error.into())]),
        }
    }
}
