//! `stream-relay open`: nobody is left hanging, and every end has a sentence and an exit code.
