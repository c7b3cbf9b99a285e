-- Each service owns a database; nobody looks into another's.
CREATE DATABASE registry;
CREATE DATABASE executor;
