"""What readers agree to where the designer gives no text of their own."""

CONSENT = """\
You are invited to take part in a study of synthetic chest radiographs. You will see radiographs of patients and \
images that a computer program generated, and you will be asked which is which.

Taking part is voluntary. You may stop at any time, close the page and go on later with the same link, on any device. \
There is no time limit unless the page shows one.

What you choose, how long you take and the size of your window are stored under a number, together with your \
professional group. Your name, your address and your IP address are not stored. The answers are analysed and may be \
published, as figures over all readers and as single answers without names.

The images are shown for research alone. They must not be used for diagnosis, copied or passed on. Please answer \
alone, and do not speak about the images with other readers before the study has ended.

By going on you confirm that you have read this and that you agree to take part."""
