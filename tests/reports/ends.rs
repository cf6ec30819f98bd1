//! A stream that breaks must never look like one that ended well.
