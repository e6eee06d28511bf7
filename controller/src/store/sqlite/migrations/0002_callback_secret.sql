-- Each job signs what goes to its own callback_url with a secret of its own, which its submitter knows.
ALTER TABLE jobs ADD COLUMN callback_secret BLOB;  -- sealed, context job/<id>/callback_secret; erased with the inputs
