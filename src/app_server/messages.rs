//! THE TABLE of the messages that the App Server sends, with what a client token is shown of each.
