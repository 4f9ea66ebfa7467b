"""m2m-link: what two instances remember of a connection, so that each byte crosses once."""
