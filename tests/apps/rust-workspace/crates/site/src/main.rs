//! A web server that ends when it is asked to.

use std::{error::Error, thread};

use signal_hook::{consts::SIGTERM, iterator::Signals};
use tiny_http::{Response, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::var("PORT")?;
    let mut signals = Signals::new([SIGTERM])?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            std::process::exit(0);
        }
    });
    assert_eq!(env!("BUILT"), "true");
    let server = Server::http(format!("0.0.0.0:{port}")).map_err(|error| error.to_string())?;
    for request in server.incoming_requests() {
        request.respond(Response::from_string(greeting::hello(42)))?;
    }
    Ok(())
}
