//! A form with a POST policy: any request is read or refused, and never panics.
#![no_main]

use rederive::sigv4::{
    Body, Expectation, FormContent, Limits, PostForm, Regions, RequestHead, SignedRequest, StringToSignError,
};

libfuzzer_sys::fuzz_target!(|request: &[u8]| {
    let Ok((head, body)) = RequestHead::parse(request, &Limits::default()) else { return };
    for bucket in [None, Some("labbucket")] {
        let _ = judge(&head, &PostForm { content: FormContent::Body(&request[body..]), bucket });
    }
});

fn judge<'a>(head: &RequestHead<'a>, form: &PostForm<'a>) -> Result<(), StringToSignError> {
    let request = SignedRequest::parse_form(head, form)?;
    let now = request.date().unix();
    let scoped = request.check_scope_and_time(&Expectation { service: "s3", regions: Regions::Any }, now)?;
    scoped.string_to_sign(Body::Absent).map(|_| ())
}
