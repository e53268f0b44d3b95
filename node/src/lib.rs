//! The process: everything of a node that touches the world.

mod edge;
mod live;
