//! `issc serve`: a system that is started, stopped and changed from a page.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::run::SystemArguments;
use crate::Result;
use crate::http::{self, Mode, Server, Service, Settings};
use crate::system::{Signals, System, SystemSpec};

/// How often it is looked whether a signal came.
const LOOK: Duration = Duration::from_millis(50);

/// Holds a system that is started, stopped and changed from a page in a browser. Radios transmit only with --transmit.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    system: SystemArguments,
    /// Where the page is served.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = http::ADDRESS)]
    http: String,
    #[command(flatten)]
    http_arguments: HttpArguments,
    /// Start the system at once.
    #[arg(long)]
    start: bool,
}

/// To whom a system is shown.
#[derive(Debug, Clone, clap::Args)]
pub struct HttpArguments {
    /// The token that requests must carry, in a file; needed at any address but the machine's own.
    #[arg(long, value_name = "FILE")]
    http_token_file: Option<PathBuf>,
    /// A name under which requests may come: that of the proxy with TLS, which any address but the machine's own needs.
    #[arg(long = "http-host", value_name = "NAME")]
    http_hosts: Vec<String>,
}

impl HttpArguments {
    /// Serves at an address, and says where.
    pub fn start(self, address: String, service: Arc<Service>) -> Result<Server> {
        let settings = Settings { address, token_file: self.http_token_file, hosts: self.http_hosts };
        let server = Server::start(&settings, service)?;
        remark!("issc: see http://{}", server.address());
        Ok(server)
    }
}

/// Runs `issc serve`.
pub fn run(arguments: Arguments) -> Result<()> {
    let signals = Signals::catch()?;
    let Arguments { system, http, http_arguments, start } = arguments;
    let spec: SystemSpec = system.spec()?.watched();
    // What cannot be started is said at once, not at the page's first attempt.
    System::build(spec.clone().check_only())?;
    let service = Service::new(Mode::Host(Box::new(spec)));
    let server = http_arguments.start(http, Arc::clone(&service))?;
    if start {
        service.start()?.iter().for_each(|note| remark!("issc: {note}"));
    }
    while !signals.stop.is_pulled() {
        thread::sleep(LOOK);
    }
    service.end();
    drop(server);
    Ok(())
}
