"""The property names and types that HaloPSA documents (its OpenAPI file of 2025-03 and the additions of 2026).

What is not here, HaloPSA ignores without a word; the sandbox ignores it too, but reports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

Schema = Mapping[str, str]  # property -> integer | number | boolean | string | array | object


def _schema(**names: str) -> Schema:
    return {name: kind for kind, text in names.items() for name in text.split()}


class BindingError(ValueError):
    """A value of the wrong type: answered with 400 and an object of lists."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        super().__init__(text)


def bind(schema: Schema, sent: Any, path: str) -> tuple[dict[str, Any], list[str]]:
    """(the known properties in their types, the names of the unknown ones). Nulls are left out.

    Numbers as strings and numbers for strings are converted, as .NET's JSON reader does. Raises BindingError.
    """
    if not isinstance(sent, dict):
        raise BindingError(path, f"An object was expected at '{path}'.")
    known: dict[str, Any] = {}
    unknown: list[str] = []
    for name, value in sent.items():
        kind = schema.get(name)
        if kind is None:
            unknown.append(name)
        elif value is not None:
            known[name] = _convert(kind, value, f"{path}.{name}")
    return known, unknown


def _convert(kind: str, value: Any, path: str) -> Any:
    if kind == "string":
        if isinstance(value, (dict, list)):
            raise BindingError(path, f"Unexpected character encountered while parsing value. Path '{path}'.")
        return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    if kind == "boolean":
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise BindingError(path, f"Could not convert to boolean: {value}. Path '{path}'.")
    if kind in ("integer", "number"):
        return _number(kind, value, path)
    if not isinstance(value, list if kind == "array" else dict):
        raise BindingError(path, f"Cannot deserialize the current JSON value into type {kind}. Path '{path}'.")
    return value


def _number(kind: str, value: Any, path: str) -> int | Decimal:
    try:
        number = Decimal("NaN") if isinstance(value, (bool, dict, list)) else Decimal(str(value))
        if kind == "number" and number.is_finite():
            return number
        if number.adjusted() < 18 and number == int(number):
            return int(number)
        raise ValueError(value)
    except (InvalidOperation, ValueError, OverflowError):
        raise BindingError(path, f"Could not convert to {kind}: {value}. Path '{path}'.") from None


HEADER: Schema = _schema(
    integer="""
        _create_from_contract _importtypeid add_contract_assets add_itemsissued add_labour add_mileage
        add_prepay add_project add_salesorder add_travel apply_credit_id apply_credit_tax_type
        approval_process_id approval_status approvalagent approvalagentid approvalticketid assigned_agent
        avalara_details_id billingcategory change_seq client_id client_to_invoice_to_id cloned_from_client_id
        contract_id creditlinkedtoinvoiceid creditlinkedtoinvoiceid_typeid csp_invoice_id currency_code
        datetype daysplus due_date_int due_date_type emailstatus exact_division id
        immediate_prorata_recurring_invoice_id import_details_id intacct_recordno intacctseparatetaxline
        invoice_auto_increase_period invoice_prorata_periods_ahead invoice_template_id invoiceday invoicetype
        kashflow_tenant_id kashflowid last_change_agent last_change_seq mailboxid markaspaidmoduleid
        most_recent_invoice_id most_recent_invoice_type new_approvalprocess_agent_id
        new_approvalprocess_cab_id note_count original_client_id payments_pending paymentstatus paymentterms
        pdf_attachment_id pdftemplate_id percentold period period_type purchaseorder_id qbo_term_id qboid
        recognised_from_invoice recurring_invoice_id runbook_button_id sage_business_cloud_details_id
        salesorder_id schedule_id sitenumber sqlimport_id supplier_id take_payment_on_duedate
        ticket_client_to_invoice_to_id ticket_id typeid uid
    """,
    number="""
        amount_remaining amountdue amountpaid apply_credit_amount apply_credit_credit_outstanding
        composite_tax_total conversion_rate credit_outstanding credit_outstanding_for_customer credit_total
        credit_used currency_conversion_rate customer_paid_total invoice_percent_increase minimum_amount
        percent revenue tax_total total
    """,
    boolean="""
        _create_credit_note _docommitsync _dont_fire_automations _dotaxsync _forcethirdpartysync
        _ignore_dont_send_invoice _is_invoice_run _is_process _is_task_schedule _isimport _isupdateimport
        _novalidate _print_generate _print_preview _sendmassinvoice _validateonly apply_credit approval_start
        bcd_posted contains_calculated_quantity create_recurring_invoice disabled dont_set_original_client_id
        dont_sync_to_3rd_party force_creation hideinvoice ignore_change_seq include_in_autopay
        invoice_separately is_down_payment is_invoice_screen is_recognition is_recurring_invoice
        mark_credit_as_used markaspaid minimum_price_active posted quickbooks_period_closed requires_approval
        reviewrequired schedule_ignore_delete sendinvoicereminder sync_include_paid take_auto_payment
        twilio_invoice update_invoice_conversion_rate voided
    """,
    string="""
        _billing_cut_off _importthirdpartyid _importtype _warning _xmlwarning accountsid address1 address2
        address3 address4 address5 apply_credit_description apply_credit_long_description approvaldatetime
        approvalemailaddress approvalnote assigned_agent_name avalara_details_name client_name contactname
        contract_ref createdbyagentname creation_source credit_date creditlinkedtoinvoiceid_thirdpartynumber
        currency currency_code_name cust_order_number date_created datepaid dateposted datesent dbc_company_id
        dbc_id deladdress1 deladdress2 deladdress3 deladdress4 deladdress5 duedate duedatename enddate
        exact_id exact_payment_conditon_id exact_payment_conditon_name generic_online_invoice_payment_url
        global_details global_nom_code global_tax_code intacct_class intacct_class_name intacct_project
        intacct_project_name intacct_save_location intacct_tax_solution intacct_tax_solution_name
        internal_note invoice_date invoice_display invoice_match_id invoice_type_code invoicenumber
        kashflow_pdf last_modified last_reminder_sent last_synced lastcreated minimum_line_description name
        new_approvalprocess_email nextcreationdate nextcreationperiod notes_1 notes_2 notes_3 order_number
        originaddress1 originaddress2 originaddress3 originaddress4 originaddress5 original_client_name
        payment_ref pdf_attachment_date_created pdftemplate_name period_end_date period_start_date periodname
        printhtml qbo_company_id qbo_term_name quickbooks_close_period_date reference sage_business_cloud_id
        schedule_date site_name snelstart_id startdate supplier_name suppliers_order_reference taken_by
        tel_number thirdpartyinvoicenumber ticket_note ticket_summary time toplevel_name use
        xero_branding_theme_id xero_branding_theme_name xero_default_payment_nominalcode xero_line_tax
        xero_online_invoice_payment_url xero_status xero_tenant_id xeroid
    """,
    array="""
        _create_from_areaitems add_lines custombuttons customfields external_links extratabs lines merge_data
        payments
    """,
    object="""
        address exact_payment_conditon invoice_totals new_external_link originaddress qbo_term schedule
        shipaddress xero_branding_theme
    """,
)

LINE: Schema = _schema(
    integer="""
        _importtypeid _itemid _temp_order_id _temp_order_seq actioncode asset_id auto_increase_period
        autorenewperiod billingperiod bundle_id bundle_line_id consumption_line_type
        consumption_split_original_line_id contract_id createproratanormallines credit_id creditlinkedidid
        csp_invoice_id current_reading dbc_sequence_id ddevnum decimalplacesforinvoices deferred_revenue_olid
        deferred_revenue_olseq down_payment_complete down_payment_type downpayment_invoice_id dsite expense_id
        group_id id ihid import_details_id importcsvid item_tax_code kashflow_line_id labourdepartmentid
        line_periods meter_id meter_pricing_method metertype milestone_id min_meter_units myob_row_id
        occurrence_count onetimechargeinvoiceid original_client_id original_order_id original_order_seq
        override_tax_code period_type prepay_id pro_rata_line_id purchaseorder_id purchaseorder_line_id
        quantity_custom recognised_quantity recognized_from_invoice_line_id recurring_invoice_id
        recurring_invoice_line_id recurring_invoice_price_type recurring_invoice_quantity_type salesorder_line
        salesorder_line_id sequenceid site supplier surcharge_id ticket_id
    """,
    number="""
        _temp_order_qty baseprice baseprice_converted consumption_cost consumption_markup
        conversion_rate_internal cost_converted discount_converted discount_perc downpayment_invoice_qty
        meter_min_quantity minimum_line_total net_amount net_amount_converted net_total override_ast_total
        percent_increase percent_invoiced prorata_quantity prorata_unit_price purchase_cost qty_order
        recognised_percentage tax_amount tax_converted tax_converted_override tax_rate total_cost_converted
        total_costprice total_discount total_discount_converted total_net_total total_price total_price_annual
        total_price_annual_converted total_price_converted total_price_monthly total_price_monthly_converted
        total_price_yearone total_price_yearone_converted total_purchase_cost total_tax total_tax_converted
        total_tax_converted_override unit_cost unit_price unit_price_converted unitprice_converted
    """,
    boolean="""
        _is_calculated_line _isimport _isprojectlabourtomerge _isupdateimport _updateprorata autorenew
        calculate_price_from_assets calculate_price_from_users exclude_auto_increase force_new
        hide_grouped_items_price hide_on_pdf hideitems includegrouppriceandqty isActive is_bundled_line
        is_deferred_revenue is_meter is_recognised_revenue isdownpayment isgroupdesc isinactive item_recurring
        item_taxable itemonorder line_fully_invoiced merge_lines_if_matched needsreviewbeforecreation
        no_tax_override onetimecharge prorata_next_invoice reviewed
        show_new_line_pro_rata_in_ready_for_invoicing synced_to_intacct tax_code_overriden use_qbo_ast
        use_rpi_increase
    """,
    string="""
        _importthirdpartyid _importtype _warning asset_inventory_number auto_increase_last_date bundle_name
        client_name comment_1 comment_2 consumption_split_id createproratadate dbc_id enddate entity_type
        intacct_department_id intacct_location_id intacct_warehouse_id invoice_class item_code
        item_external_reference item_internal_reference item_longdescription item_shortdescription
        item_tax_name last_reading_date lineactiondate myob_location nominal_code productcode productnumber
        prorata_longdescription prorata_shortdescription startdate supplier_name tax_code tax_name
        xero_category_1_lookup xero_category_1_lookup_name xero_category_2_lookup xero_category_2_lookup_name
        xero_lineid xero_tax_code
    """,
    array="""
        customfields meter_tiers prorata_data quantity_assets quantity_licences quantity_subscriptions
        quantity_users taxRuleResult
    """,
    object="""
        line_totals linked_item
    """,
)

ITEM: Schema = _schema(
    integer="""
        _importtypeid _itemupdateconflict01 _match_integration_id _updateitemtype assetaccountcode
        assetgroup_id assetgroup_qbo_type assettype_id auto_reorder_type autogroupnewquotelines
        autotaskproductid autotaskserviceid budgettype_id costingmethod created_by currency_override
        dattocommerce_tenant default_sort_seq exact_division id import_details_id inoutconversion
        item_default_billing_period item_group_itemcode item_group_taxcode item_group_taxcode_purchase
        itemsupplier_client_id itemsupplier_currency_id itemsupplier_supplier_id kashflow_tenant_id kashflowid
        linked_item_id manufacturer_id meterlife metertype myob_tenant primaryimageid project_bill_type
        purchase_currency_code qbo_quantity related_item_count sage50uk_department_id
        sage_business_cloud_details_id status supplier_id taxcode taxcodeother template_id
        tiered_pricing_method type xerodetails_id
    """,
    number="""
        avco baseprice costprice hours items_per_buying_price items_per_selling_price itemsupplier_cost
        itemsupplier_price margin markupperc maxitemdiscount min_purchase_qty minstockqty qtyissuedthisyear
        qtyonallsalesorders quantity_in_stock quantity_on_order quantity_reserved recovery recurringcost
        recurringprice reorderqty secondhandprice secondprice servicefee sleeveprice weight
    """,
    boolean="""
        _dont_fire_automations _isimport _isupdateimport applydiscount autorenew_quote_line_default
        cost_calculated_from_components doesnotneedconsigning dont_receive_on_po dont_track_stock dontinvoice
        dynamics_bc_synced dynamics_dimensions_enabled ignore_from_accounting_sync iscontractitem
        isitemdetails ismeteritem isrecurringitem item_listed_only_on_bundle_setup
        price_calculated_from_components promptforprice purchasetaxincluded salestaxincluded
        serialise_only_one showmobilescanner taxable update_recurring_invoice_cost
        update_recurring_invoice_price use_tiered_pricing
    """,
    string="""
        _importthirdpartyid _importtype _match_integration_name _match_thirdparty_id _warning accountsid
        asset_account_name asset_type_matching_field_name assetgroup_name assettype_name avalara_item_code
        binlocation budgettype_name datecreated dbc_company_id dbc_company_name dbc_template
        default_supplier_part_code description exact_division_name expense_account_name externalreference
        extra_invoice_description fullyqualifiedname goodsinunit goodsoutunit group_third_party_id icon
        icon_download_url income_account_name intacct_product_line_id intacct_type internalreference
        invoice_class item_group_nominalcode item_group_nominalcode_purchase itemsupplier_currency_code
        itemsupplier_currency_symbol kashflow_tenant_name lastmodified linked_item_name manufacturer_name
        myob_asset_account_code myob_tenant_name name nominalcode nominalcode_name note
        purchase_currency_code_name purchase_description purchasenominalcode purchasenominalcode_name
        qbo_company_id qbo_company_name qbocategoryid qbocategoryname qboinitial_quantity_date qbosku
        relatedcategories_list sage_business_cloud_details_name sagetoken shaccountsid snelstart_department_id
        snelstart_department_name snelstart_id supplier_name supplier_part_code taxcode_name taxcodeother_name
        template_name third_party_assetgroup_id third_party_id use user_description xero_cogs_account_code
        xero_cogs_account_code_name xero_inventory_account_code xero_inventory_account_code_name
        xero_purchasetax xero_salestax xero_tenant_id xero_tenant_name
    """,
    array="""
        custombuttons customfields external_links item_accounts_links item_suppliers linked_asset_defaults
        relatedcategories stocklocations
    """,
    object="""
        asset_account expense_account income_account new_external_link new_item_accounts_link
        purchase_currency qbo_category quickbooks_details snelstart_department
    """,
)

GROUP: Schema = _schema(
    integer="""
        _match_integration_id access_control_level defaultsite id import_details_id item_assettype_default
        item_billing_period_default qbo_item_type sequence tax_id tax_id_purchase
    """,
    boolean="""
        _isimport connector isfixedasset item_contract_default item_doesnotneedconsigning_default
        item_donttrackstock_default item_recurring_default items_in_group_no_consign moveassetonrequest
        multipleaccountstenants showasequip showasitem showwarningifonrequest
    """,
    string="""
        _match_integration_name _match_thirdparty_id _warning avalara_item_code guid intent invoice_class
        islan item_assettype_name_default itemcode_id itemcode_name kaseyaid memo name nominalcode
        nominalcode_name nominalcode_name_purchase nominalcodepurchase tax_name tax_name_purchase tcsnote
        thirdpartyid xero_category_1_lookup xero_category_1_lookup_name xero_category_2_lookup
        xero_category_2_lookup_name
    """,
    array="""
        access_control accounts_mappings assettypes
    """,
    object="""
        new_external_link
    """,
)

# Of a ticket (which the OpenAPI file calls Faults) only what opens one; the file has some hundred properties more.
TICKET: Schema = _schema(
    integer="""
        agent_id client_id contract_id id impact priority_id site_id sla_id source status_id supplier_id
        tickettype_id urgency user_id
    """,
    boolean="dont_do_rules",
    string="category_1 category_2 category_3 category_4 details details_html reference summary team user_name",
    array="customfields",
)
