"""An HTTP/2 conformance suite: cases by section of RFC 9113 and RFC 7541, and what runs them."""
