//! What an operator sees of a gateway: the scrape, the control socket and `vtepctl`, over real sockets, with a
//! gateway whose numbers are known.

mod exposition;
mod gateway;
mod golden;
mod http;
mod reference;
mod server;
mod vtepctl;
