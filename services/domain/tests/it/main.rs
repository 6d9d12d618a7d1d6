//! The rules, as given–when–then, and what holds over any sequence of commands.

mod api_key;
mod organization;
mod project;
mod scenario;
mod server;
mod user;
mod vocabulary;
