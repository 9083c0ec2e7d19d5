//! Ill will and accident: what strangers, apps and broken machines do to a server, and what must hold all the same.

mod damage;
mod databases;
