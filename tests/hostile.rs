//! Ill will and accident: what strangers, apps and broken machines do to a server, and what must hold all the same.

mod bounds;
mod contained;
mod damage;
mod databases;
mod door;
mod ends;
mod frozen;
mod live;
mod vanished;
