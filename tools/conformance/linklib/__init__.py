"""Another edge and another core of m2m-link(7), written from its text alone, and what tries the
program with them. Nothing here imports m2mproxy; each part names the section that it follows."""
