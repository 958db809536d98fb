"""Tables, archive and pre-registration of a study."""
