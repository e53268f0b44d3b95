//! What is served right now.
